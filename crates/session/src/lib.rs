//! One shard's session with Discord as a state machine without IO.
//!
//! [`Session::step`] takes one [`Input`], a clock value and a dice, and says what follows as [`Action`]s. It keeps
//! every rule of Discord's gateway life cycle: hello, heartbeats, identify, ready, resume, invalid sessions, close
//! codes, send limits. A driver owns the socket, the timers and the identify queue, and does as it is told. Nearly every
//! frame is an event that comes next in a live session; [`Session::follow`] takes those at a fraction of the cost.
//!
//! What never happens here: no socket, no timer, no clock, no randomness of its own, no logging, no panic on any
//! input. The session never learns what a socket is, nor who consumes its events.
//!
//! Invariants:
//! - A resume id and its sequence live in one value, [`ResumePoint`]; they cannot disagree.
//! - A session is never given up while it may still be resumed, unless a person asks for it.
//! - IDENTIFY leaves in the same step in which it was granted, or the grant is given back.
//! - No connection carries more than 120 frames in any 60 seconds, whatever is asked of it.
//! - Close codes 1000 and 1001, which end a session, are never used unless the session is meant to end.
//! - Unless idle or stopped there is always an armed timer, an open socket, or an awaited answer: nothing hangs.

mod action;
mod beat;
mod budget;
mod commands;
mod config;
mod connect;
mod frames;
mod input;
mod join;
mod payload;
mod point;
mod report;
mod session;

pub use action::{Action, Timer};
pub use config::{Config, Limits};
pub use frames::Following;
pub use input::Input;
pub use point::{PointError, ResumePoint};
pub use report::{Cause, LostCause, Notice, Refusal, Report, StopReason};
pub use session::{Phase, Session, StateView};
