//! What etcd's errors mean for who asked: done or not, here or elsewhere, now or later.
//!
//! It knows etcd's own words (rpctypes/error.go); a text that it does not know is an outage.

use etcd_client::Error;

/// Why a request is not known to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No answer: another member may give one.
    #[error("{0}")]
    Outage(String),
    /// etcd's disk quota is used up.
    #[error(
        "etcd's database is full (alarm NOSPACE), so it takes no writes: compact and defragment it, \
         raise --quota-backend-bytes, then `etcdctl alarm disarm`; units run on as they are"
    )]
    NoSpace,
    /// The lease that a write rests on is gone: nothing was written.
    #[error("the lease is gone")]
    NoLease,
    /// The revision was compacted.
    #[error("the revision was compacted")]
    Compacted,
    /// This user may not.
    #[error("etcd refuses this user: {0}")]
    Forbidden(String),
    /// The request itself cannot be taken.
    #[error("etcd refuses the request: {0}")]
    Refused(String),
    /// It is not the etcd that it was.
    #[error("{0}")]
    Stop(String),
}

impl Trouble {
    /// From the client's error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        let Error::GRpcStatus(status) = error else {
            return Self::Outage(error.to_string());
        };
        let text = status.message();
        let has = |part: &str| text.contains(part);
        if has("database space exceeded") {
            Self::NoSpace
        } else if has("requested lease not found") {
            Self::NoLease
        } else if has("required revision has been compacted") {
            Self::Compacted
        } else if has("permission denied")
            || has("authentication failed")
            || has("user name is empty")
        {
            Self::Forbidden(text.to_owned())
        } else if has("request is too large") || has("too many operations") || has("duplicate key")
        {
            Self::Refused(text.to_owned())
        } else {
            Self::Outage(format!("{:?}: {text}", status.code()))
        }
    }

    /// Whether another member may know better.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Outage(_))
    }
}
