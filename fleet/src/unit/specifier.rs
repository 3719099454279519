//! Specifiers in `[X-Fleet]`: `%n %N %p %i %%`, as fleet had them.
//!
//! The host's specifiers (`%H`, `%m`, …) are refused: nobody knows the host before the unit is placed.

use super::UnitName;

/// Replaces the specifiers of `text`.
///
/// # Errors
/// An unknown specifier, or `%i` of a unit that has no instance.
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
            Some('n') => out.push_str(unit.as_str()),
            Some('N') => out.push_str(unit.stem()),
            Some('p') => out.push_str(unit.prefix()),
            Some('i') => out.push_str(unit.instance().ok_or_else(|| {
                format!(
                    "specifier %i wants an instance, and {unit} is none (name it like {}@1.{})",
                    unit.prefix(),
                    unit.suffix()
                )
            })?),
            found => {
                let found = found.map_or_else(|| "the end".to_owned(), |c| format!("%{c}"));
                return Err(format!(
                    "expected one of the specifiers %n %N %p %i %%, found {found}"
                ));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_stand_for_parts_of_the_name() {
        let unit = "db@2.service".parse().unwrap();
        assert_eq!(
            expand("%n %N %p %i 5%%", &unit).unwrap(),
            "db@2.service db@2 db 2 5%"
        );
        assert!(expand("%H", &unit).unwrap_err().contains("%H"));
        assert!(expand("%", &unit).unwrap_err().contains("the end"));
        let plain = "db.service".parse().unwrap();
        assert!(expand("%i", &plain).unwrap_err().contains("db@1.service"));
    }
}
