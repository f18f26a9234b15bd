//! A configuration file of any text is refused, with the place, or gives a release that the journal can keep.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use switchback::config::Config;
use switchback::spec::{PoolSpec, VipSpec};

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/switchback.toml");
    match Config::parse(text, path) {
        Ok(config) => {
            assert_eq!(Config::parse(text, path).ok().as_ref(), Some(&config));
            for pool in config.desired.pools.values() {
                let kept = serde_json::to_vec(pool).expect("a pool is plain data");
                assert_eq!(&serde_json::from_slice::<PoolSpec>(&kept).expect("as it was written"), pool);
            }
            for vip in config.desired.vips.values() {
                let kept = serde_json::to_vec(vip).expect("a vip is plain data");
                assert_eq!(&serde_json::from_slice::<VipSpec>(&kept).expect("as it was written"), vip);
                assert!(vip.pools().all(|pool| config.desired.pools.contains_key(pool)));
            }
        }
        Err(error) => {
            let error = error.to_string();
            let line = error.strip_prefix("/etc/switchback.toml:").and_then(|rest| rest.split(':').next());
            let line: usize = line.and_then(|line| line.parse().ok()).expect("an error names file and line");
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
        }
    }
});
