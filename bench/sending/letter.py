"""The mail that is measured: a newsletter of 20 KB in HTML and text, a template that speaks to each reader."""

SUBJECT = (
    "{{ contact.first_name | default: 'Hello' }}, this is what {{ contact.custom_fields.city }} reads in June"
)

_ARTICLES = 16
_WORDS = (
    "The harbour opened again on Tuesday, after the crane that stood across its mouth for a month had been taken down "
    "in four pieces. Whoever has a boat there may go out from the sixth on; the ferries keep their winter times until "
    "the pier is dry. What it costs and who pays it will be told at the meeting in the old customs house, which is "
    "open to all and begins at seven. Bring the letter that came with your bill."
)
_ARTICLE_HTML = """<tr><td style="padding:12px 24px;font-family:Georgia,serif;font-size:16px;line-height:24px;color:#222222">
<h2 style="margin:0 0 8px 0;font-size:20px"><a href="https://shop.test/articles/{number}" style="color:#0b5394">Article {number}</a></h2>
<p style="margin:0 0 12px 0">{words}</p>
{aside}</td></tr>
"""
# Of some articles alone.
_ASIDE = """<p style="margin:0 0 12px 0">{{% if contact.custom_fields.score > {threshold} %}}You know the author, \
{{{{ contact.first_name }}}}.{{% else %}}New to you?{{% endif %}}</p>
"""
_ARTICLE_TEXT = """Article {number}
{words}
https://shop.test/articles/{number}

"""
_HTML = """<!doctype html>
<html><head><meta charset="utf-8"><title>June</title></head>
<body style="margin:0;background:#f4f4f4"><table role="presentation" width="600" align="center" bgcolor="#ffffff">
<tr><td style="padding:24px"><h1>Dear {{ contact.first_name }} {{ contact.last_name }},</h1>
{% if contact.custom_fields.score >= 50 %}<p>your {{ contact.custom_fields.score }} points are worth a coffee in {{ contact.custom_fields.city }}.</p>
{% else %}<p>with a few points more there is a coffee for you in {{ contact.custom_fields.city }}.</p>{% endif %}</td></tr>
"""
_TEXT = """Dear {{ contact.first_name }} {{ contact.last_name }},

{% if contact.custom_fields.score >= 50 %}your {{ contact.custom_fields.score }} points are worth a coffee.
{% else %}with a few points more there is a coffee for you.
{% endif %}
"""
_FOOT = '<tr><td style="padding:24px"><a href="{{ unsubscribe_url }}">No more of these</a></td></tr></table></body></html>\n'


def html() -> str:
    """Its HTML, a table as mail programs want it; some articles say something else to who has more points."""
    return _HTML + "".join(map(_article, range(_ARTICLES))) + _FOOT


def plain() -> str:
    """Its text, which says less of the same."""
    articles = (_ARTICLE_TEXT.format(number=number, words=_WORDS) for number in range(_ARTICLES))
    return _TEXT + "".join(articles) + "No more of these: {{ unsubscribe_url }}\n"


def _article(number: int) -> str:
    aside = "" if number % 4 else _ASIDE.format(threshold=number * 8)
    return _ARTICLE_HTML.format(number=number, words=_WORDS, aside=aside)
