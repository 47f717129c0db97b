"""Numbered pages, the dialect of people: numbers, totals, links, both directions; in one schema on every list.

parameters      `page`, `per_page`, `cursor` and `total`, beside the filters of `/resources`
paginated       the schema of every answer: `data`, `pagination`, `links`
pager           one page by its number or by a cursor, and what is told beside it
totals          how many objects there are, remembered while nothing changes
links           where the links of a page lead, also behind a proxy
"""
