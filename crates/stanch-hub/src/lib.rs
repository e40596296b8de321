//! The pipeline from a finding to a verified, recorded fix.
