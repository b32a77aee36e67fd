//! Globs over paths: `*` and `?` within a component, `**` across components.

/// Whether the whole of `path` matches. A glob without a leading slash may begin at any component.
pub fn matches(glob: &str, path: &[u8]) -> bool {
    let glob = glob.as_bytes();
    if glob.starts_with(b"/") {
        return from_here(glob, path);
    }
    let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    from_here(glob, path)
        || starts.into_iter().any(|(index, _)| from_here(glob, &path[index + 1..]))
}

fn from_here(glob: &[u8], path: &[u8]) -> bool {
    match glob {
        [] => path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] => {
            let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            from_here(rest, path)
                || starts.into_iter().any(|(index, _)| from_here(rest, &path[index + 1..]))
        }
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|end| from_here(rest, &path[end..])),
        [b'*', rest @ ..] => {
            let within = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=within).any(|end| from_here(rest, &path[end..]))
        }
        [b'?', rest @ ..] => {
            matches!(path, [byte, after @ ..] if *byte != b'/' && from_here(rest, after))
        }
        [literal, rest @ ..] => path.first() == Some(literal) && from_here(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stays_within_its_component() {
        assert!(matches("src/*.rs", b"/w/src/main.rs"));
        assert!(!matches("src/*.rs", b"/w/src/bin/main.rs"));
    }

    #[test]
    fn two_stars_cross_components() {
        assert!(matches("src/**/*.rs", b"/w/src/a/b.rs"));
        assert!(matches("src/**/*.rs", b"/w/src/b.rs"));
        assert!(matches("vendor/**", b"/w/vendor/a/b/c"));
    }

    #[test]
    fn an_absolute_glob_begins_at_the_root() {
        assert!(matches("/w/**", b"/w/a"));
        assert!(!matches("/a", b"/w/a"));
    }

    #[test]
    fn a_question_mark_is_one_character_of_a_name() {
        assert!(matches("?.rs", b"/w/a.rs"));
        assert!(!matches("a?b", b"a/b"));
    }
}
