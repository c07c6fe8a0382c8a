"""The report of a job: Markdown, and the same as one page of HTML that needs nothing else."""

import html

from skill_fleet.foundation.errors import NotFound
from skill_fleet.foundation.files import read_text
from skill_fleet.jobs.records import ApiKey, Job
from skill_fleet.services.creation_report import creation_report
from skill_fleet.services.jobs import get_job
from skill_fleet.services.service import Service

_FILE = "report.md"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}table{border-collapse:collapse}"
    "th,td{border:1px solid #ccc;padding:.3rem .6rem;text-align:left}code,pre{background:#f3f3f3;"
    "font:14px/1.4 ui-monospace,monospace}pre{padding:.8rem;overflow-x:auto;white-space:pre-wrap}"
    "blockquote{border-left:4px solid #c80;margin:1rem 0;padding:.1rem 1rem;background:#fff8e8}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}code,pre{background:#262626}"
    "th,td{border-color:#444}blockquote{background:#2a2410}a{color:#8ab4f8}}"
)
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a report may load: nothing."""


def job_report(service: Service, job_id: str, key: ApiKey | None) -> str:
    """The report of a job, as Markdown: of its run, or of the skill it wrote.

    Raises:
        NotFound: There is no such job, or (`no_result`) no report of it: it goes on, or nothing came of it.
        Removed: It was removed.
    """
    job = get_job(service, job_id, key)
    if job.kind == "creation":
        if job.result is None:
            raise _without(job)
        return creation_report(job.result)
    kept = service.files.read(job.job_id, _FILE)
    if kept is not None:
        return kept.decode("utf-8", "replace")
    file = service.context.workspace.runs / job.job_id / _FILE
    if file.is_file():
        return read_text(file, what="report")
    raise _without(job)


def _without(job: Job) -> NotFound:
    if not job.over:
        return NotFound(f"Job {job.job_id} has no report yet: it is {job.status}.", code="no_result")
    why = (job.error or {}).get("message") or f"it is {job.status}."
    return NotFound(f"Job {job.job_id} has no report, and will have none: {why}", code="no_result")


def report_page(markdown: str, title: str) -> str:
    """A report as one page of HTML: no script, no picture, nothing that is loaded.

    Markup in the text is shown as text: what a model wrote may be in it.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{REPORT_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{reader.render(markdown)}</body>\n</html>\n"
    )
