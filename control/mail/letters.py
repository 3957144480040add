"""What mail says: one template, as text and as HTML."""

from dataclasses import dataclass
from html import escape

LINES_TEXT = "{greeting}\n\n{text}\n\n{action}{footer}\n"
ACTION_TEXT = "{label}:\n{url}\n\n"
LINES_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin:0;padding:24px;background:#f4f4f2;font:16px/1.5 system-ui,sans-serif;color:#1c1c1a">
<div style="max-width:34em;margin:0 auto;padding:24px;background:#fff;border-radius:6px">
<p>{greeting}</p>
<p>{text}</p>
{action}<p style="color:#666;font-size:13px">{footer}</p>
</div></body></html>
"""
ACTION_HTML = (
    '<p><a href="{url}" style="display:inline-block;padding:10px 18px;background:#0b6b4f;color:#fff;'
    'text-decoration:none;border-radius:4px">{label}</a></p>\n'
    '<p style="font-size:13px;overflow-wrap:anywhere">{url}</p>\n'
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What one is about. Only these sentences differ from letter to letter."""

    subject: str
    greeting: str
    text: str
    footer: str
    label: str | None = None
    url: str | None = None

    def as_text(self) -> str:
        action = ACTION_TEXT.format(label=self.label, url=self.url) if self.url else ""
        return LINES_TEXT.format(greeting=self.greeting, text=self.text, action=action, footer=self.footer)

    def as_html(self) -> str:
        # Names are what strangers typed: nothing of them may become markup.
        action = ""
        if self.url:
            action = ACTION_HTML.format(label=escape(self.label or ""), url=escape(self.url))
        return LINES_HTML.format(
            subject=escape(self.subject),
            greeting=escape(self.greeting),
            text=escape(self.text),
            action=action,
            footer=escape(self.footer),
        )
