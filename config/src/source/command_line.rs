//! What the kernel's command line says of the configuration.
//!
//! Pure; a signed image's command line is part of the image, and this is then of no use to anybody.

/// `ignition.config.url=`, or `skeg.config.url=`.
pub fn url(line: &str) -> Option<&str> {
    word(line, "skeg.config.url=").or_else(|| word(line, "ignition.config.url="))
}

/// `ignition.platform.id=`.
pub fn platform(line: &str) -> Option<&str> {
    word(line, "ignition.platform.id=")
}

/// `ds=nocloud…`.
pub fn seed(line: &str) -> Option<&str> {
    word(line, "ds=")
}

fn word<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let words = line.split_whitespace().map(|word| word.trim_matches('"'));
    let mut values = words.filter_map(|word| word.strip_prefix(key));
    values.find(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_words_of_the_line_are_found_and_no_others() {
        let line =
            "quiet xignition.config.url=no ignition.config.url=http://a/b ds=nocloud;s=http://c/\n";
        assert_eq!(super::url(line), Some("http://a/b"));
        assert_eq!(super::seed(line), Some("nocloud;s=http://c/"));
        assert_eq!(super::platform(line), None);
        assert_eq!(super::url("ignition.config.url="), None);
    }
}
