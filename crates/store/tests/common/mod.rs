//! What the store's tests share: one suite, two kinds of store.
#![allow(unreachable_pub, dead_code, unused_macros, unused_imports, clippy::unwrap_used)]

pub mod postgres;

use trunkline_store::{OpenError, Options, Store};

/// Where a test's store is.
pub enum Place {
    Embedded(tempfile::TempDir),
    Postgres(String),
}

impl Place {
    pub fn embedded() -> Place {
        Place::Embedded(tempfile::tempdir().unwrap())
    }

    pub fn postgres() -> Place {
        Place::Postgres(postgres::shared().database())
    }

    pub fn try_open(&self, options: Options) -> Result<Store, OpenError> {
        match self {
            Place::Embedded(dir) => Store::open(dir.path(), options),
            Place::Postgres(url) => Store::connect(url, options),
        }
    }

    pub fn open(&self, options: Options) -> Store {
        self.try_open(options).unwrap()
    }
}

/// Makes two tests of each function that takes a place: one for each kind of store.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $name() { super::$name(&super::common::Place::embedded()); })*
        }
        mod postgresql {
            $(#[test] fn $name() { super::$name(&super::common::Place::postgres()); })*
        }
    };
}
pub(crate) use on_both;
