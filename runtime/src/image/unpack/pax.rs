//! PAX extended headers: `LENGTH KEY=VALUE\n` records, values being any bytes.
//!
//! It knows only the keys that a layer may carry; others are passed over.

/// What the records say about the next entry.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Records {
    /// `path`
    pub path: Option<Vec<u8>>,
    /// `linkpath`
    pub link: Option<Vec<u8>>,
    /// `size`
    pub size: Option<u64>,
    /// `uid`
    pub uid: Option<u64>,
    /// `gid`
    pub gid: Option<u64>,
    /// `mtime`, seconds and nanoseconds
    pub mtime: Option<(i64, u32)>,
    /// `SCHILY.xattr.NAME`
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Some `GNU.sparse.…` key was there.
    pub is_sparse: bool,
}

/// Reads all records of one extended header.
///
/// # Errors
/// A text that says which record is broken.
pub fn parse(mut bytes: &[u8]) -> Result<Records, String> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) =
            split_record(bytes).ok_or("broken record in an extended header")?;
        records.set(key, value)?;
        bytes = rest;
    }
    Ok(records)
}

/// Key, value and what follows the first record.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let body = bytes.get(space + 1..length)?;
    let body = body.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

impl Records {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(key, value)?),
            b"uid" => self.uid = Some(number(key, value)?),
            b"gid" => self.gid = Some(number(key, value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or("broken `mtime` record")?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
                self.is_sparse |= key.starts_with(b"GNU.sparse.");
            }
        }
        Ok(())
    }
}

fn number(key: &[u8], value: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|t| t.parse().ok())
        .ok_or_else(|| format!("broken `{}` record", String::from_utf8_lossy(key)))
}

/// `1700000000.123456789`; a negative time with a fraction counts down from the next second.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().ok()?;
    if nanos > 0 && whole.starts_with('-') {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
        let body = [b" ", key, b"=", value, b"\n"].concat();
        let mut length = body.len() + 1;
        while length != body.len() + length.to_string().len() {
            length = body.len() + length.to_string().len();
        }
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn binary_attributes_keep_their_line_breaks() {
        let capability = b"\x01\x00\x00\x02\x0a=\x0a\x00";
        let mut bytes = record(b"SCHILY.xattr.security.capability", capability);
        bytes.extend(record(b"path", b"a\nb"));
        bytes.extend(record(b"comment", b"passed over"));
        let records = parse(&bytes).unwrap();
        assert_eq!(
            records.xattrs,
            [(b"security.capability".to_vec(), capability.to_vec())]
        );
        assert_eq!(records.path.unwrap(), b"a\nb");
    }

    #[test]
    fn times_have_nanoseconds_and_may_lie_before_1970() {
        assert_eq!(time(b"1700000000.5"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time(b"1.x"), None);
        assert_eq!(time(b""), None);
    }

    #[test]
    fn broken_records_are_refused() {
        for bytes in [
            &b"5 a=b\n"[..],
            b"99 path=x\n",
            b"0 path=x\n",
            b"path=x\n",
            b"9 path=xy",
            b"8 pathx\n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&record(b"size", b"-1")).is_err());
        assert!(parse(&record(b"GNU.sparse.major", b"1")).unwrap().is_sparse);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_written_is_read(value: Vec<u8>) {
            let bytes = record(b"linkpath", &value);
            prop_assert_eq!(parse(&bytes).unwrap().link, Some(value));
        }
    }
}
