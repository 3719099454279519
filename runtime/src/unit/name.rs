//! A unit's name, and the specifiers such as `%n` that stand for parts of it.
//!
//! It expands no variables (`$X`): Quadlet hands them to the container as they are.

/// Replaces the specifiers that a unit file may use: `%n %N %p %i %j %t %S %E %T %h %%`.
pub fn expand(text: &str, unit: &UnitName) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(&unit.service()),
            Some('N') => out.push_str(unit.stem()),
            Some('p') => out.push_str(unit.prefix()),
            Some('i') => out.push_str(unit.instance()),
            Some('j') => out.push_str(unit.prefix().rsplit('-').next().unwrap_or_default()),
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('E') => out.push_str("/etc"),
            Some('T') => out.push_str("/tmp"),
            Some('h') => out.push_str("/root"),
            Some(other) => {
                return Err(format!(
                    "specifier '%{other}' is not supported (write %% for a percent sign)"
                ));
            }
            None => {
                return Err(
                    "expected a specifier after '%', found the end (write %% for a percent sign)"
                        .into(),
                );
            }
        }
    }
    Ok(out)
}

/// Whether a service's name is that of a template, which is no unit before it has an instance.
pub fn is_template(service: &str) -> bool {
    service
        .rsplit_once('.')
        .is_some_and(|(stem, _)| stem.ends_with('@'))
}

/// A unit's name, taken from its file: `web.container` is the service `web.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// From a file name without its extension.
    pub fn new(stem: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-@:\\".contains(&b);
        if stem.is_empty() || stem.len() > 200 || !stem.bytes().all(allowed) {
            return Err(format!(
                "expected a unit name of letters, digits, '_', '.', '-', '@', found '{stem}'"
            ));
        }
        Ok(Self(stem.to_string()))
    }

    /// The name without its suffix.
    pub fn stem(&self) -> &str {
        &self.0
    }

    /// `web.service`.
    pub fn service(&self) -> String {
        format!("{}.service", self.0)
    }

    /// What stands before `@`.
    pub fn prefix(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// What stands after `@`, or nothing.
    pub fn instance(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, instance)| instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn specifiers_name_the_unit() {
        let unit = UnitName::new("a-web@3").unwrap();
        let text = expand("%n %N %p %i %j 100%%", &unit).unwrap();
        assert_eq!(text, "a-web@3.service a-web@3 a-web 3 web 100%");
        assert!(expand("%y", &unit).unwrap_err().contains("%y"));
        assert!(expand("%", &unit).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_expanding_panic(text in "(\\PC|[\\\\\"'%xuU0 ])*") {
            let _ = expand(&text, &UnitName::new("u").unwrap());
        }
    }
}
