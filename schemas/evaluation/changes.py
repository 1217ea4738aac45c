"""What differs between two configurations of the evaluation, for the person who is about to replace one by the other."""

from collections.abc import Mapping

from schemas.evaluation.tree import KINDS, Evaluation, Indicator

__all__ = ["changes"]


def changes(old: Evaluation, new: Evaluation) -> list[str]:
    """Return a line for each part of the tree that is new, gone or different, in the order of the trees.

    A line names the part by its path, the whole by "the whole", and gives each of its settings as ``old → new``.
    """
    before, after = _parts(old), _parts(new)
    lines = []
    for path in dict.fromkeys([*before, *after]):
        was, is_now = before.get(path), after.get(path)
        if was is None:
            lines.append(f"{path}: new, {_listed(after[path])}")
        elif is_now is None:
            lines.append(f"{path}: removed, was {_listed(was)}")
        elif was != is_now:
            differing = [name for name in dict.fromkeys([*was, *is_now]) if was.get(name, "") != is_now.get(name, "")]
            told = "; ".join(f"{name} {_quoted(was.get(name))} → {_quoted(is_now.get(name))}" for name in differing)
            lines.append(f"{path}: {told}")
    return lines


def _parts(evaluation: Evaluation) -> dict[str, dict[str, str]]:
    """Return the settings of each part by its path, in words."""
    names = {"chinese": evaluation.chinese, "english": evaluation.english, "about": evaluation.about}
    found = {"the whole": names}
    for path, kinds, part in evaluation.parts():
        said = {"weight": f"{part.weight:g}"}
        if isinstance(part, Indicator):
            said |= {"metric": part.metric, "item": part.item, "norm": part.norm.words, "min_sample": f"{part.min_sample}"}
            said |= {"chinese": part.title_chinese, "english": part.title_english}
        else:
            said |= {"chinese": part.chinese, "english": part.english}
        found[path] = said | {"kinds": ", ".join(kind for kind in KINDS if kind in kinds), "about": part.about}
    return found


def _quoted(text: str | None) -> str:
    return f"({text})" if text and " " in text else text or "none"


def _listed(settings: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {text}" for name, text in settings.items() if text)
