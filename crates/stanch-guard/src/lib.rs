//! Whether a change may be made: policies, change windows, exemptions, limits, threat intelligence.
//!
//! Nothing here does IO: files' contents, the time and what was seen of a resource come in. Whatever
//! cannot be read, told or evaluated is a no.

mod calendar;
mod cases;
mod exemption;
mod explain;
mod facts;
mod guard;
mod history;
mod policies;
mod problem;
mod starter;
mod threat;

pub use calendar::{Calendar, CalendarError};
pub use cases::{Expected, Outcome, TestCase, read_cases};
pub use exemption::{Cover, Exemption, Exemptions};
pub use explain::{Change, Explanation, Question};
pub use guard::{Answer, Automatic, Breaker, Case, Guard, Limits, Placement, Rules, Source};
pub use policies::{File, Run};
pub use problem::{Problem, Problems};
pub use starter::starter;
pub use threat::{Feed, indicators};
