"""``patient-import``: registrations from the bucket into the practice database."""
