//! The smallest value for which something works, by bisection.
//!
//! It takes for granted that what works with less works with more.

/// The least multiple of `step` in `low..=high` for which `works`; none if not even `high` does.
///
/// # Errors
/// Those of `works`.
pub fn smallest<E>(
    low: u32,
    high: u32,
    step: u32,
    mut works: impl FnMut(u32) -> Result<bool, E>,
) -> Result<Option<u32>, E> {
    let (mut low, mut high) = (low / step, high / step);
    if !works(high * step)? {
        return Ok(None);
    }
    while low < high {
        let middle = low.midpoint(high);
        if works(middle * step)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Some(high * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_found_in_few_trials() {
        let mut trials = 0;
        let found = smallest(64, 256, 4, |value| {
            trials += 1;
            Ok::<_, ()>(value >= 109)
        });
        assert_eq!(found, Ok(Some(112)));
        assert!(trials <= 8, "{trials}");
        assert_eq!(smallest(64, 256, 4, |_| Ok::<_, ()>(false)), Ok(None));
        assert_eq!(smallest(64, 256, 4, |_| Ok::<_, ()>(true)), Ok(Some(64)));
    }
}
