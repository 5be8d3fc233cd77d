//! What plays the scenarios: phrases, the stage, the account, and the files they are kept in.

pub mod account;
pub mod difference;
pub mod file;
pub mod phrase;
pub mod script;
pub mod stage;
pub mod vocabulary;
