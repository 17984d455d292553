"""The style sheet and scripts of the package's web pages.

The scripts are ES modules, so a server can hand them out as they are; `inline` turns them into one script for a page that is a
single file. Modules in this folder serve any page. Those in `report/` fill the sections of the report.
"""

__all__: list[str] = []
