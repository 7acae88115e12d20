"""What the journal promises to those who use it, with every kind of journal that there is (``tests.journals``)."""
