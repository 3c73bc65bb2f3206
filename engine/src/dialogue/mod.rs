//! Dialogue: a conversation of words and pictures goes in, words and pictures come out.
//!
//! `turn` is what people say, `template` how a model wants it written, `context` the row of positions that it
//! reads. `decide` chooses the next token, and with it whether a picture belongs here; `reply` is the loop;
//! `live` is what was read already and `window` what still fits; `session`, `record` and `held` keep a conversation.
//! `generate`, `caption` and `score` need no database.

pub mod caption;
pub(crate) mod context;
mod decide;
pub mod generate;
pub(crate) mod held;
pub(crate) mod live;
mod options;
pub(crate) mod record;
mod reply;
pub mod score;
pub(crate) mod session;
pub(crate) mod template;
mod turn;
mod window;

pub use decide::{RetControl, Sampling};
pub use options::ChatOptions;
pub use record::SessionInfo;
pub use reply::{Event, Finish, Reply, ReplyOptions, Retrieved};
pub use session::ChatSummary;
pub use turn::{Part, Role, Turn};
