"""The evaluation report (评价报告): one self-contained HTML page about a school, a teacher, a class or an education group.

``gather.py`` reads what the page shows as of an instant, ``data.py`` is what it read, ``page.py`` draws it.
"""
