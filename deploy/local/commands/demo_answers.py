"""Three questions that the demo answers, and their queries. With one seed the answers are the same at every run."""

from dataclasses import dataclass
from typing import Final

__all__ = ["QUESTIONS", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question in both languages, and the query that answers it; its columns are named as a reader reads them."""

    chinese: str
    english: str
    sql: str


QUESTIONS: Final = (
    Question(
        "课堂上谁在说话？按学科",
        "Who talks in class, subject by subject?",
        """SELECT course AS `学科 subject`, uniqExact(lesson_id) AS `课时 lessons`,
    round(100 * sumIf(numerator, metric = 'teacher_talk_share') / sumIf(denominator, metric = 'teacher_talk_share'), 1)
        AS `教师 teacher, %`,
    round(100 * sumIf(numerator, metric = 'student_talk_share') / sumIf(denominator, metric = 'student_talk_share'), 1)
        AS `学生 students, %`,
    round(100 * sumIf(numerator, metric = 'silence_share') / sumIf(denominator, metric = 'silence_share'), 1)
        AS `沉寂 silence, %`
FROM v1_lesson_figures
WHERE metric IN ('teacher_talk_share', 'student_talk_share', 'silence_share') AND window = 'lesson'
GROUP BY course ORDER BY course""",
    ),
    Question(
        "一节课的时间怎样分配？五学课堂",
        "How is the time of the lessons divided? The five-study classroom",
        """SELECT transform(item,
        ['question_led', 'situational', 'interactive', 'evaluative', 'digital'],
        ['问题引学 question-led', '情境创学 situational', '活动互学 interactive',
         '评价优学 evaluative', '数字助学 digital'])
        AS `五学 strategy`,
    round(100 * sum(numerator) / sum(denominator), 1) AS `占比 share of the time, %`,
    round(sum(numerator) / 3600, 1) AS `时长 hours`, countIf(numerator > 0) AS `课时 lessons with it`
FROM v1_lesson_figures
WHERE metric = 'strategy_share' AND window = 'lesson'
GROUP BY item ORDER BY sum(numerator) DESC, item""",
    ),
    Question(
        "教师一周备课多少分钟？按发展阶段",
        "How many minutes do teachers prepare in seven days, by career stage?",
        """SELECT transform(e.career_stage, ['novice', 'developing', 'experienced', 'expert'],
        ['新手 novice', '发展 developing', '成熟 experienced', '专家 expert']) AS `发展阶段 career stage`,
    count() AS `教师 teachers`,
    toUInt32(round(quantileExact(0.25)(f.value))) AS `下四分位 lower quartile, min`,
    toUInt32(round(quantileExact(0.5)(f.value))) AS `中位数 median, min`,
    toUInt32(round(quantileExact(0.75)(f.value))) AS `上四分位 upper quartile, min`
FROM v1_prep_figures AS f INNER JOIN v1_entities AS e ON e.kind = 'teacher' AND e.entity_id = f.teacher_id
WHERE f.metric = 'active_prep_minutes' AND f.window = '7d/1d'
    AND f.window_start = (SELECT max(window_start) - INTERVAL 6 DAY FROM v1_prep_figures WHERE window = '7d/1d')
GROUP BY e.career_stage ORDER BY quantileExact(0.5)(f.value), e.career_stage""",
    ),
)
