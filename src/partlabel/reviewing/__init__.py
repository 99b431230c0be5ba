"""A page on this machine on which people decide cells: what is asked, the journal, the server, the export."""
