//! Patterns of unit names as `systemctl 'web*'` sends them: fnmatch(3) without escapes.
//!
//! It never fails: a bracket that is not closed stands for itself.

/// Whether `name` is of `pattern`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on when a later part does not fit: the last star, and one character more for it.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    loop {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        match (one(&pattern[p..], name.get(n).copied()), name.get(n)) {
            (Some(length), Some(_)) => {
                p += length;
                n += 1;
            }
            (_, None) if p == pattern.len() => return true,
            (_, None) => return false,
            (None, Some(_)) => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
}

/// How many characters of the pattern stand for `c`, if they do.
fn one(pattern: &[char], c: Option<char>) -> Option<usize> {
    let c = c?;
    match pattern.first()? {
        '?' => Some(1),
        '[' => match pattern.iter().skip(2).position(|p| *p == ']') {
            Some(at) => set(&pattern[1..at + 2], c).then_some(at + 3),
            None => (c == '[').then_some(1),
        },
        plain => (*plain == c).then_some(1),
    }
}

fn set(set: &[char], c: char) -> bool {
    let (negated, set) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut found = false;
    let mut rest = set;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match tail {
            ['-', last, more @ ..] => {
                found |= (*first..=*last).contains(&c);
                rest = more;
            }
            _ => found |= *first == c,
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_as_fnmatch_reads_them() {
        for (pattern, name, expected) in [
            ("web*", "web.service", true),
            ("*.service", "web.service", true),
            ("*.timer", "web.service", false),
            ("w?b.service", "web.service", true),
            ("w[a-f]b.service", "web.service", true),
            ("w[!a-f]b.service", "web.service", false),
            ("*b*s*e", "web.service", true),
            ("web", "web.service", false),
            ("", "", true),
            ("[", "[", true),
            ("**", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics_and_a_star_takes_all(pattern in "[a-c*?\\[\\]!-]{0,12}", name in "[a-c]{0,8}") {
            matches(&pattern, &name);
            prop_assert!(matches("*", &name));
            prop_assert!(matches(&name, &name));
        }
    }
}
