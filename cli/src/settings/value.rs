//! A setting's value and how it is read.

use std::fmt;
use std::net::SocketAddr;

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Path,
    /// `http://` or `https://`.
    Url,
    /// `ADDRESS:PORT`.
    Address,
    /// A whole number of seconds, at least one.
    Seconds,
    Flag,
    /// Texts; in the environment separated by commas.
    List,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    Text(String),
    Address(SocketAddr),
    Seconds(u64),
    Flag(bool),
    List(Vec<String>),
}

impl Kind {
    /// Reads the texts of a flag, variable or default.
    pub(crate) fn parse(self, texts: &[String]) -> Result<Setting, String> {
        if self == Self::List {
            let items = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty());
            return Ok(Setting::List(items.map(str::to_owned).collect()));
        }
        let text = texts.last().map_or("", String::as_str);
        let expected = |what: &str| format!("expected {what}, got {text:?}");
        match self {
            Self::Text | Self::Path if text.is_empty() => Err("is empty".to_owned()),
            Self::Text | Self::Path => Ok(Setting::Text(text.to_owned())),
            Self::Url => match reqwest::Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Setting::Text(text.trim_end_matches('/').to_owned())),
                _ => Err(expected("a URL that begins with http:// or https://")),
            },
            Self::Address => text.parse().map(Setting::Address).map_err(|_| expected("ADDRESS:PORT, such as 127.0.0.1:3001")),
            Self::Seconds => {
                let seconds = text.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
                seconds.map(Setting::Seconds).ok_or_else(|| expected("a whole number of seconds from 1 to 86400"))
            }
            Self::Flag => text.parse().map(Setting::Flag).map_err(|_| expected("true or false")),
            Self::List => Ok(Setting::List(Vec::new())),
        }
    }

    /// Reads a value of the settings file.
    pub(crate) fn read_toml(self, value: &toml::Value) -> Result<Setting, String> {
        match (self, value) {
            (Self::List, toml::Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.map(Setting::List).ok_or_else(|| "expected a list of texts".to_owned())
            }
            (Self::Flag, toml::Value::Boolean(flag)) => Ok(Setting::Flag(*flag)),
            (Self::Seconds, toml::Value::Integer(seconds)) => self.parse(&[seconds.to_string()]),
            (Self::Text | Self::Path | Self::Url | Self::Address, toml::Value::String(text)) => self.parse(std::slice::from_ref(text)),
            _ => Err(format!("expected {}, got {value}", self.describe())),
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Path => "a path in quotes",
            Self::Url => "a URL in quotes",
            Self::Address => "\"ADDRESS:PORT\"",
            Self::Seconds => "a whole number of seconds",
            Self::Flag => "true or false",
            Self::List => "a list of texts",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Address(address) => address.fmt(f),
            Self::Seconds(seconds) => seconds.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}
