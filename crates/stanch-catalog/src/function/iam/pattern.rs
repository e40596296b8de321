//! IAM's `*` and `?`.

use stanch_types::is_like;

/// Whether the pattern matches the text. Policy variables match nothing here: they are decided per
/// request.
pub(in crate::function) fn matches(pattern: &str, text: &str) -> bool {
    !pattern.contains("${") && is_like(pattern, text)
}

/// [`matches`] for actions, whose case does not count.
pub(in crate::function) fn matches_action(pattern: &str, action: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_iam_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/x", "a/b/x", true),
            ("a*", "b", false),
            ("${aws:username}", "${aws:username}", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches_action("S3:Put*", "s3:putObject"));
    }
}
