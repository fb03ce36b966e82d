"""The report of a search as one self-contained HTML page: `SearchResult.report`."""
