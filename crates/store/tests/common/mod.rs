//! What the store's tests share: one suite, two kinds of store.
#![allow(unreachable_pub, dead_code, unused_macros, unused_imports, clippy::unwrap_used)]

pub mod postgres;

use trunkline_store::{OpenError, Options, RowCodec, Store, Table};

/// Rows of the tests: the table's number, guild and id as the key, JSON as the value; values that begin with `!` have no JSON form.
pub const CODEC: RowCodec = RowCodec {
    place: |key| {
        let (table, rest) = key.split_first()?;
        let (guild, rest) = rest.split_first_chunk::<8>()?;
        let id = u64::from_be_bytes(rest.try_into().ok()?);
        Some(trunkline_store::Place { table: Table::from_number(*table)?, guild_id: u64::from_be_bytes(*guild), id })
    },
    key: |place| Some(key(place.table, place.guild_id, place.id)),
    json: |_, value| Some(String::from_utf8(value.to_vec()).ok()?).filter(|text| !text.starts_with('!')),
    with: |_, value, over| {
        let mut object: serde_json::Value = serde_json::from_slice(value).ok()?;
        object.as_object_mut()?.extend(serde_json::from_str::<serde_json::Map<_, _>>(over).ok()?);
        Some(object.to_string())
    },
    items: |_, value| {
        let list: Vec<serde_json::Value> = serde_json::from_slice(value).ok()?;
        Some(list.iter().filter_map(|item| Some((item["id"].as_str()?.parse().ok()?, item.to_string()))).collect())
    },
    value: |_, json| Some(json.as_bytes().to_vec()),
    form: b'{',
};

/// The key of a row.
pub fn key(table: Table, guild: u64, id: u64) -> Vec<u8> {
    [&[table as u8][..], &guild.to_be_bytes(), &id.to_be_bytes()].concat()
}

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
