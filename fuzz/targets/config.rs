//! The configuration file: what is taken can be written down, and is taken again as the same.
#![no_main]

use annulus::admin::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(settings) = Settings::from_toml(text) else { return };
    let shown = settings.to_toml();
    match Settings::from_toml(&shown) {
        Ok(again) => assert_eq!(again, settings, "{shown}"),
        Err((line, message)) => panic!("line {line} of what was shown: {message}\n{shown}"),
    }
    let _ = settings.check();
});
