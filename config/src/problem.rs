//! What is wrong with a configuration, and where: document, line, column, field.
//!
//! Never holds a value of the configuration that may be a secret.

use std::fmt;

/// A place in one of the documents that a configuration is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Spot {
    /// Index of the document, in the order in which they were read.
    pub document: usize,
    /// From 1; 0 when the document as a whole is meant.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// Something wrong, or worth knowing, at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub at: Spot,
    /// The field, e.g. `storage.files[0].mode`; empty for the document.
    pub field: String,
    /// What was expected and found, and what to do.
    pub text: String,
}

/// All that was found; a configuration with one error is not applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What keeps it from being applied.
    pub errors: Vec<Problem>,
    /// What has no effect here.
    pub notes: Vec<Problem>,
}

impl Findings {
    /// Adds an error.
    pub fn error(&mut self, at: Spot, field: &str, text: impl Into<String>) {
        self.errors.push(Problem::new(at, field, text));
    }

    /// Adds a note.
    pub fn note(&mut self, at: Spot, field: &str, text: impl Into<String>) {
        self.notes.push(Problem::new(at, field, text));
    }

    /// Takes in what others found.
    pub fn extend(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.notes.extend(other.notes);
    }
}

impl Problem {
    /// One at a place.
    pub fn new(at: Spot, field: &str, text: impl Into<String>) -> Self {
        Self {
            at,
            field: field.to_owned(),
            text: text.into(),
        }
    }

    /// `NAME:LINE:COLUMN: FIELD: TEXT`, with the documents' names.
    #[must_use]
    pub fn told<'a>(&'a self, documents: &'a [String]) -> Told<'a> {
        Told(self, documents)
    }
}

/// A problem with its document's name.
#[derive(Debug)]
pub struct Told<'a>(&'a Problem, &'a [String]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problem, documents) = self;
        let name = documents.get(problem.at.document);
        f.write_str(name.map_or("config", String::as_str))?;
        if problem.at.line > 0 {
            write!(f, ":{}:{}", problem.at.line, problem.at.column)?;
        }
        if !problem.field.is_empty() {
            write!(f, ": {}", problem.field)?;
        }
        write!(f, ": {}", problem.text)
    }
}
