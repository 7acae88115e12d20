"""The flows of the practice database: patients and therapists, and beside them what both need."""
