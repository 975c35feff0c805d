"""What runs students that are not spaCy's own: each module here is copied into the packages that need it.

A module imports spaCy and what spaCy brings (numpy, thinc, srsly), never this package, and may be
registered twice: two packages may carry it, and this package may be installed beside them. So what a name means is
never changed; other weights or another format get another name.
"""
