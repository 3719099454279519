//! Every field of Ignition 3.0 to 3.5: its shape, since when it is, and what becomes of it here.
//!
//! One table for all that asks: the check, the merge, and the reference in `docs/CONFIG.md`.

use Fate::{Done, Ignored, Refused};
use Shape::{Flag, Number, Object, Objects, Text, Texts};

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of texts.
    Texts,
    /// An object of these fields.
    Object(&'static Table),
    /// A list of such objects.
    Objects(&'static Table),
}

/// The fields of an object.
#[derive(Debug)]
pub struct Table {
    /// By name.
    pub fields: &'static [Field],
    /// What tells the elements of a list of such objects apart; none: each is its own.
    pub key: Option<&'static str>,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The `x` of the version `3.x.0` that brought it.
    pub since: u8,
    /// What it must be.
    pub shape: Shape,
    /// Whether it may be left out.
    pub must: bool,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Done,
    /// Accepted without effect, for this reason, which is told.
    Ignored(&'static str),
    /// A configuration that has it is refused, for this reason.
    Refused(&'static str),
}

const fn field(name: &'static str, since: u8, shape: Shape) -> Field {
    Field {
        name,
        since,
        shape,
        must: false,
        fate: Done,
    }
}

const fn must(name: &'static str, shape: Shape) -> Field {
    Field {
        must: true,
        ..field(name, 0, shape)
    }
}

const fn with(fate: Fate, field: Field) -> Field {
    Field { fate, ..field }
}

const fn table(fields: &'static [Field]) -> Table {
    Table { fields, key: None }
}

const fn keyed(key: &'static str, fields: &'static [Field]) -> Table {
    Table {
        fields,
        key: Some(key),
    }
}

/// The whole document.
pub static ROOT: Table = table(&[
    must("ignition", Object(&IGNITION)),
    field("kernelArguments", 3, Object(&KERNEL_ARGUMENTS)),
    field("passwd", 0, Object(&PASSWD)),
    field("storage", 0, Object(&STORAGE)),
    field("systemd", 0, Object(&SYSTEMD)),
]);

static IGNITION: Table = table(&[
    must("version", Text),
    field("config", 0, Object(&CONFIG)),
    field("proxy", 1, Object(&PROXY)),
    field("security", 0, Object(&SECURITY)),
    field("timeouts", 0, Object(&TIMEOUTS)),
]);
static CONFIG: Table = table(&[
    field("merge", 0, Objects(&DOCUMENT_TO_MERGE)),
    field("replace", 0, Object(&DOCUMENT)),
]);
static PROXY: Table = table(&[
    field("httpProxy", 1, Text),
    field("httpsProxy", 1, Text),
    field("noProxy", 1, Texts),
]);
static SECURITY: Table = table(&[field("tls", 0, Object(&TLS))]);
static TLS: Table = table(&[field(
    "certificateAuthorities",
    0,
    Objects(&DOCUMENT_TO_MERGE),
)]);
static TIMEOUTS: Table = table(&[
    field("httpResponseHeaders", 0, Number),
    field("httpTotal", 0, Number),
]);

static VERIFICATION: Table = table(&[field("hash", 0, Text)]);
static HEADER: Table = keyed("name", &[must("name", Text), field("value", 1, Text)]);
static DOCUMENT: Table = table(DOCUMENT_FIELDS);
static DOCUMENT_TO_MERGE: Table = keyed("source", DOCUMENT_FIELDS);
const DOCUMENT_FIELDS: &[Field] = &[
    must("source", Text),
    field("compression", 1, Text),
    field("httpHeaders", 1, Objects(&HEADER)),
    field("verification", 0, Object(&VERIFICATION)),
];
static CONTENTS: Table = table(&[
    field("source", 0, Text),
    field("compression", 0, Text),
    field("httpHeaders", 1, Objects(&HEADER)),
    field("verification", 0, Object(&VERIFICATION)),
]);

static STORAGE: Table = table(&[
    with(Refused(NO_DISKS), field("disks", 0, Objects(&OPAQUE))),
    with(Refused(NO_DISKS), field("raid", 0, Objects(&OPAQUE))),
    with(Refused(NO_DISKS), field("filesystems", 0, Objects(&OPAQUE))),
    with(Refused(NO_LUKS), field("luks", 2, Objects(&OPAQUE))),
    field("files", 0, Objects(&FILE)),
    field("directories", 0, Objects(&DIRECTORY)),
    field("links", 0, Objects(&LINK)),
]);
const NO_DISKS: &str = "the host's disk has one layout, made when it is written, and no other disk is touched: attach data as a volume, or leave it out";
const NO_LUKS: &str =
    "an encrypted STATE is a matter of the installation, not of the configuration";
const NO_ARGUMENTS: &str = "the kernel's command line is part of the signed image: sign an addon to the UKI (.addon.efi) for this host, or leave it out";
/// What is refused as a whole is not looked into.
static OPAQUE: Table = table(&[]);

static OWNER: Table = table(&[field("id", 0, Number), field("name", 0, Text)]);
static FILE: Table = keyed(
    "path",
    &[
        must("path", Text),
        field("overwrite", 0, Flag),
        field("contents", 0, Object(&CONTENTS)),
        field("append", 0, Objects(&CONTENTS)),
        field("mode", 0, Number),
        field("user", 0, Object(&OWNER)),
        field("group", 0, Object(&OWNER)),
    ],
);
static DIRECTORY: Table = keyed(
    "path",
    &[
        must("path", Text),
        field("overwrite", 0, Flag),
        field("mode", 0, Number),
        field("user", 0, Object(&OWNER)),
        field("group", 0, Object(&OWNER)),
    ],
);
static LINK: Table = keyed(
    "path",
    &[
        must("path", Text),
        must("target", Text),
        field("overwrite", 0, Flag),
        field("hard", 0, Flag),
        field("user", 0, Object(&OWNER)),
        field("group", 0, Object(&OWNER)),
    ],
);

static SYSTEMD: Table = table(&[field("units", 0, Objects(&UNIT))]);
static UNIT: Table = keyed(
    "name",
    &[
        must("name", Text),
        field("enabled", 0, Flag),
        field("mask", 0, Flag),
        field("contents", 0, Text),
        field("dropins", 0, Objects(&DROPIN)),
    ],
);
static DROPIN: Table = keyed("name", &[must("name", Text), field("contents", 0, Text)]);

static PASSWD: Table = table(&[
    field("users", 0, Objects(&USER)),
    field("groups", 0, Objects(&GROUP)),
]);
const NO_SHELL: &str = "this host has no shell";
const NO_HOME: &str = "no home folder is made: what a user has is its keys";
static USER: Table = keyed(
    "name",
    &[
        must("name", Text),
        field("passwordHash", 0, Text),
        field("sshAuthorizedKeys", 0, Texts),
        field("uid", 0, Number),
        field("gecos", 0, Text),
        field("homeDir", 0, Text),
        with(Ignored(NO_HOME), field("noCreateHome", 0, Flag)),
        field("primaryGroup", 0, Text),
        field("groups", 0, Texts),
        field("noUserGroup", 0, Flag),
        with(
            Ignored("this host keeps no lastlog"),
            field("noLogInit", 0, Flag),
        ),
        with(Ignored(NO_SHELL), field("shell", 0, Text)),
        field("shouldExist", 2, Flag),
        field("system", 0, Flag),
    ],
);
static GROUP: Table = keyed(
    "name",
    &[
        must("name", Text),
        field("gid", 0, Number),
        with(
            Ignored("nobody joins a group by its password here"),
            field("passwordHash", 0, Text),
        ),
        field("shouldExist", 2, Flag),
        field("system", 0, Flag),
    ],
);

static KERNEL_ARGUMENTS: Table = table(&[
    with(Refused(NO_ARGUMENTS), field("shouldExist", 3, Texts)),
    with(Refused(NO_ARGUMENTS), field("shouldNotExist", 3, Texts)),
]);

/// Every field with its path, e.g. `storage.files.mode`, in the order of the table.
#[must_use]
pub fn all() -> Vec<(String, &'static Field)> {
    let mut found = Vec::new();
    collect(&ROOT, "", &mut found);
    found
}

fn collect(table: &'static Table, path: &str, found: &mut Vec<(String, &'static Field)>) {
    for field in table.fields {
        let path = match path {
            "" => field.name.to_owned(),
            _ => format!("{path}.{}", field.name),
        };
        found.push((path.clone(), field));
        match field.shape {
            Object(inner) | Objects(inner) => collect(inner, &path, found),
            _ => {}
        }
    }
}
