"""What each stage leaves for people to read in the Prefect UI: pure functions from records to Markdown.

Markdown and not Prefect's tables: its UI cuts every cell of a table off, shows ten rows at once, and knows no numbers at the right.
Every text that may come from outside goes through `markdown.safe`, every table and every page has an end.
"""
