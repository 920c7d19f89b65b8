"""Marks that show another text or order than is there; beside the types of model/text.py, which load pydantic."""

# Of direction, width zero and tags, for a class of a regular expression. What people write is held to LINE_PATTERN
# (model/text.py); what others say loses all of these before it is shown.
MARKS = "\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
