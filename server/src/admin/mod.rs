//! What operators see: settings and where they come from, the command line, the log of messages, INFO, MEMORY, and
//! `annulus doctor`. Nothing here runs on the path of a request, except that INFO and CONFIG are commands too.

pub mod cli;
mod config;
pub mod doctor;
pub mod histogram;
pub mod info;
pub mod limits;
mod load;
pub mod logging;
pub mod memory;
mod moment;
pub mod process;
mod reference;
mod settings;
pub mod tools;
mod value;

pub use config::ConfigError;
pub use load::{CONFIG_FILE, LoadError, Loaded, environment};
pub use reference::markdown as reference_markdown;
pub use settings::{
    Bind, Change, Durability, Event, EventClasses, FileMode, IoDriver, LogFormat, LogLevel, MaxmemoryPolicy,
    OutputLimit, OutputLimits, Period, Pin, SETTINGS, SHARDS_MAX, SavePoint, SavePoints, Secret, Setting,
    Settings, setting,
};
