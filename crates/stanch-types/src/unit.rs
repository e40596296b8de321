//! Organizational units by their path: `root/prod/payments`.

/// Whether `own` is `unit` or lies below it. A slash at either end says nothing.
#[must_use]
pub fn is_below(own: &str, unit: &str) -> bool {
    let below = own.trim_matches('/').strip_prefix(unit.trim_matches('/'));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_below_itself_and_what_is_above_it() {
        assert!(is_below("root/prod", "root/prod"));
        assert!(is_below("root/prod/payments", "root/prod"));
        assert!(is_below("root/prod/payments", "/root/prod/"));
        assert!(!is_below("root/production", "root/prod"));
        assert!(!is_below("root", "root/prod"));
    }
}
