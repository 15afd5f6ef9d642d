"""What a command found, for people and for CI: ``report.json``, ``junit.xml`` and ``report.html`` in one folder."""
