//! The tree of configuration values, each with the source that it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserializer;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde_path_to_error::{Path, Segment};

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The defaults of the program.
    Defaults,
    /// The configuration file.
    File(PathBuf),
    /// The environment variable with this name.
    Variable(String),
    /// The command-line flag with this name.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("config.default.toml"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Flag(name) => write!(f, "the flag {name}"),
        }
    }
}

/// Keys with their values.
pub(super) type Table = BTreeMap<String, Value>;

/// A value with its source.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) source: Source,
}

/// A value without its source.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Boolean(bool),
    /// Any `i64` or `u64`.
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Table(Table),
}

impl Value {
    pub(super) fn new(kind: Kind, source: &Source) -> Self {
        Self { kind, source: source.clone() }
    }

    /// Converts a value of a TOML file. A date or time becomes text.
    pub(super) fn from_toml(value: toml::Value, source: &Source) -> Self {
        let kind = match value {
            toml::Value::Boolean(value) => Kind::Boolean(value),
            toml::Value::Integer(value) => Kind::Integer(value.into()),
            toml::Value::Float(value) => Kind::Float(value),
            toml::Value::String(text) => Kind::Text(text),
            toml::Value::Datetime(time) => Kind::Text(time.to_string()),
            toml::Value::Array(list) => {
                Kind::List(list.into_iter().map(|value| Self::from_toml(value, source)).collect())
            }
            toml::Value::Table(table) => Kind::Table(
                table.into_iter().map(|(key, value)| (key, Self::from_toml(value, source))).collect(),
            ),
        };
        Self::new(kind, source)
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Kind::Table(table) = &self.kind { Some(table) } else { None }
    }

    /// Returns the value at a path such as `limits.page_size`.
    pub(super) fn find(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, key| value.as_table()?.get(key))
    }

    /// Overrides this value with a later one. Tables keep the keys that the later one does not have.
    pub(super) fn merge(&mut self, later: Self) {
        match (&mut self.kind, later.kind) {
            (Kind::Table(table), Kind::Table(keys)) => {
                for (key, value) in keys {
                    match table.get_mut(&key) {
                        Some(earlier) => earlier.merge(value),
                        None => {
                            table.insert(key, value);
                        }
                    }
                }
            }
            (kind, later) => *kind = later,
        }
        self.source = later.source;
    }

    /// Converts the value to a type. The error names the key and the source of a wrong value.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_path_to_error::deserialize(self.clone()).map_err(|error| {
            format!("{} for key \"{}\" in {}", error.inner(), error.path(), self.source_of(error.path()))
        })
    }

    /// Returns the source of the value at a path, or of the innermost table on the way to it.
    fn source_of(&self, path: &Path) -> &Source {
        let mut value = self;
        for segment in path {
            let next = match (segment, &value.kind) {
                (Segment::Map { key }, Kind::Table(table)) => table.get(key),
                (Segment::Seq { index }, Kind::List(list)) => list.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            value = next;
        }
        &value.source
    }
}

impl IntoDeserializer<'_, Error> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind {
            Kind::Boolean(value) => visitor.visit_bool(value),
            Kind::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(value),
            },
            Kind::Float(value) => visitor.visit_f64(value),
            Kind::Text(text) => visitor.visit_string(text),
            Kind::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Kind::Table(table) => visitor.visit_map(MapDeserializer::new(table.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.kind {
            Kind::Text(variant) => visitor.visit_enum(variant.into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}
