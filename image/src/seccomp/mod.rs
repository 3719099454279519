//! From a service's words to its filter of system calls, as a file of the image.
//!
//! Pure. It is the image that compiles filters: PID 1 has neither the table of names nor the code.

mod calls;
mod program;

use formats::seccomp::Filter;
use formats::service::{Service, SystemCalls};
use program::Program;

/// Highest number that the table of names was made with: what is newer answers that it is not there,
/// so that programs fall back to what is older.
const NEWEST: u32 = libc::SYS_mseal as u32;

/// Why a service's filter cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    /// A word that stands for no call.
    #[error("{service}: SystemCallFilter=: expected a system call or a group, found \"{word}\"")]
    Call {
        /// The service's name.
        service: String,
        /// What it says.
        word: String,
    },
    /// A call that 32-bit programs could make all the same.
    #[error(
        "{service}: SystemCallFilter=~{word}: its number for 32-bit programs is not known here"
    )]
    Of32Bit {
        /// The service's name.
        service: String,
        /// The call.
        word: String,
    },
    /// An unknown family.
    #[error(
        "{service}: RestrictAddressFamilies=: expected a family such as AF_UNIX, found \"{word}\""
    )]
    Family {
        /// The service's name.
        service: String,
        /// What it says.
        word: String,
    },
    /// An unknown kind.
    #[error(
        "{service}: RestrictNamespaces=: expected yes, no or kinds such as net, found \"{word}\""
    )]
    Namespace {
        /// The service's name.
        service: String,
        /// What it says.
        word: String,
    },
}

/// The file for a service; none when it asks for no filter.
///
/// # Errors
/// When a word of the service is not known.
pub fn compile(service: &Service) -> Result<Option<Vec<u8>>, SeccompError> {
    let asked = &service.system_calls;
    if !asked.is_restricted() {
        return Ok(None);
    }
    let refused = asked
        .filter
        .first()
        .is_some_and(|word| word.starts_with('~'));
    let calls = listed(&service.name, asked)?;
    let mut program = Program::default();
    match refused {
        true => {
            program.foreign(&of_32_bit(&service.name, &calls)?);
            program.newer_is_absent(NEWEST);
            if asked.namespaces.is_some() {
                program.clone3_is_absent();
            }
        }
        false => {
            program.native_only();
            program.absent_is_answered(NEWEST);
        }
    }
    if !asked.families.is_empty() {
        program.families(&families(&service.name, asked)?);
    }
    if let Some(kinds) = &asked.namespaces {
        program.namespaces(forbidden(&service.name, kinds)?);
    }
    let numbers = calls.iter().filter_map(|(_, n)| u32::try_from(*n).ok());
    if !asked.filter.is_empty() && !refused {
        program.mounts();
        program.kernel_programs();
        program.own_limits();
    }
    match (asked.filter.is_empty(), refused) {
        (true, _) => program.allow(),
        (false, true) => program.refuse(numbers.collect()),
        (false, false) => program.permit(numbers.collect()),
    }
    let program = Filter {
        // A list of what is refused is that of containers too, who could fill the log.
        is_told: !refused,
        instructions: program.bytes(),
    };
    let filters = match refused {
        true => vec![program],
        false => vec![absent(), program],
    };
    Ok(Some(formats::seccomp::encode(&filters)))
}

/// What programs ask for at every start, to do with less: the answer is in a filter of its own, which is
/// not told. Loaded first, since its error outweighs that the other lets the call through.
fn absent() -> Filter {
    let mut program = Program::default();
    program.native();
    program.newer_is_absent(NEWEST);
    program.clone3_is_absent();
    program.allow();
    Filter {
        is_told: false,
        instructions: program.bytes(),
    }
}

fn listed(service: &str, asked: &SystemCalls) -> Result<Vec<calls::Call>, SeccompError> {
    let mut all = Vec::new();
    for word in &asked.filter {
        let word = word.strip_prefix('~').unwrap_or(word);
        let found = calls::named(word).ok_or_else(|| SeccompError::Call {
            service: service.to_owned(),
            word: word.to_owned(),
        })?;
        all.extend(found);
    }
    Ok(all)
}

fn of_32_bit(service: &str, calls: &[calls::Call]) -> Result<Vec<u32>, SeccompError> {
    let one = |call: &calls::Call| {
        calls::i386(call).ok_or_else(|| SeccompError::Of32Bit {
            service: service.to_owned(),
            word: call.0.to_owned(),
        })
    };
    calls.iter().map(one).collect()
}

fn families(service: &str, asked: &SystemCalls) -> Result<Vec<u32>, SeccompError> {
    let one = |word: &String| {
        calls::family(word).ok_or_else(|| SeccompError::Family {
            service: service.to_owned(),
            word: word.clone(),
        })
    };
    asked.families.iter().map(one).collect()
}

/// The flags of every kind that is not named.
fn forbidden(service: &str, kinds: &[String]) -> Result<u32, SeccompError> {
    let mut flags = calls::KINDS.iter().fold(0, |all, (_, flag)| all | flag);
    for word in kinds {
        let flag = calls::namespace(word).ok_or_else(|| SeccompError::Namespace {
            service: service.to_owned(),
            word: word.clone(),
        })?;
        flags &= !flag;
    }
    Ok(flags)
}

#[cfg(test)]
mod tests;
