"""The metrics of a teacher's preparation (备课), numbers 16 to 21. Key: the teacher; subject: the plan.

Days and weeks are those of the district's time zone.
"""
