"""Classroom metrics (智慧课堂) as pure functions of columns."""
