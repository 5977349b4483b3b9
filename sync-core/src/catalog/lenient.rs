//! Catalogs of a newer program: a word that this one does not know is read as the one that does the least harm.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StringDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, IgnoredAny, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{ApiStyle, DefaultValue, JsonCase, ListForm, OnDelete, ScopeRule, Travel};
use crate::policy::Policy;
use crate::value::ColumnType;

/// What an unknown variant is taken for.
trait Fallback: Sized {
    fn fallback() -> Self;
}

impl Fallback for DefaultValue {
    /// A site leaves the column out.
    fn fallback() -> Self {
        Self::Cloud
    }
}

impl Fallback for ColumnType {
    /// By its text form.
    fn fallback() -> Self {
        Self::Other
    }
}

impl Fallback for OnDelete {
    fn fallback() -> Self {
        Self::Restrict
    }
}

impl Fallback for Policy {
    fn fallback() -> Self {
        Self::Manual
    }
}

impl Fallback for Travel {
    /// A site writes nothing that it does not understand.
    fn fallback() -> Self {
        Self::Down
    }
}

impl Fallback for ScopeRule {
    /// Only the cloud can tell.
    fn fallback() -> Self {
        Self::Through(Vec::new())
    }
}

macro_rules! lenient {
    ($(#[$doc:meta] $name:ident: $type:ty;)*) => {$(
        #[$doc]
        pub(crate) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            read(deserializer)
        }
    )*};
}

lenient! {
    /// What a column holds.
    column_type: ColumnType;
    /// A delete rule.
    on_delete: OnDelete;
    /// A policy.
    policy: Policy;
    /// A direction.
    travel: Travel;
    /// A scope rule.
    scope: ScopeRule;
}

/// What an array holds.
pub(crate) fn element_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<ColumnType>, D::Error> {
    read(deserializer).map(Box::new)
}

/// A column's default.
pub(crate) fn default_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DefaultValue>, D::Error> {
    struct Lenient(DefaultValue);
    impl<'de> Deserialize<'de> for Lenient {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            read(deserializer).map(Self)
        }
    }
    Ok(Option::<Lenient>::deserialize(deserializer)?.map(|read| read.0))
}

/// The API's style, of which `rejoin.toml` may say nothing unknown and a catalog may.
pub(crate) fn api<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ApiStyle, D::Error> {
    #[derive(Deserialize)]
    struct Style {
        #[serde(default)]
        case: String,
        #[serde(default)]
        list: String,
    }
    fn word<T: for<'a> Deserialize<'a> + Default>(word: String) -> T {
        let deserializer: StringDeserializer<de::value::Error> = word.into_deserializer();
        T::deserialize(deserializer).unwrap_or_default()
    }
    let style = Style::deserialize(deserializer)?;
    Ok(ApiStyle { case: word::<JsonCase>(style.case), list: word::<ListForm>(style.list) })
}

fn read<'de, D: Deserializer<'de>, T: Deserialize<'de> + Fallback>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Variants(PhantomData))
}

/// Reads an externally tagged enum: its variant's name, or a map of the name to the content.
struct Variants<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Fallback> Visitor<'de> for Variants<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word, or a map of one word")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        let deserializer: de::value::StrDeserializer<'_, de::value::Error> = name.into_deserializer();
        Ok(T::deserialize(deserializer).unwrap_or_else(|_| T::fallback()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let name: String = map.next_key()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
        let mut opened = false;
        let read = T::deserialize(Variant { name, map: &mut map, opened: &mut opened });
        match read {
            Err(_) if !opened => {
                map.next_value::<IgnoredAny>()?;
                Ok(T::fallback())
            }
            read => read,
        }
    }
}

/// One variant with its content still in the map. `opened`: its name was known.
struct Variant<'m, A> {
    name: String,
    map: &'m mut A,
    opened: &'m mut bool,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Variant<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Variant<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), A::Error> {
        let deserializer: StringDeserializer<A::Error> = self.name.clone().into_deserializer();
        let value = seed.deserialize(deserializer)?;
        *self.opened = true;
        Ok((value, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Variant<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("a variant of several values"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, A::Error> {
        Err(de::Error::custom("a variant of named values"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value as Json, json};
    use uuid::Uuid;

    use crate::catalog::{Catalog, DefaultValue, ListForm, OnDelete, ScopeRule, Travel};
    use crate::policy::Policy;
    use crate::value::{ColumnType, Value};
    use crate::wire::codec::{decode, encode, encode_named};

    fn catalog() -> Json {
        let stamps = json!({"version": "v", "updated_at": "u", "last_modified_by": "l", "synced_at": "s"});
        let column = |no: u32, ty: Json, default: Json| json!({"no": no, "name": format!("c{no}"), "ty": ty, "sql_type": "t", "not_null": false, "default": default, "max_length": null});
        let uuid = Uuid::from_u128(7);
        json!({"version": 3, "system": "s", "api": {"list": "bare"}, "tables": [{
            "no": 1, "schema": "public", "name": "t", "path": "t", "engine": false, "key": [1], "uniques": [], "indexes": [],
            "references": [{"name": "r", "columns": [1], "table": 1, "target": [1], "on_delete": "cascade"}],
            "scope": {"through": 0}, "stamps": stamps, "soft_delete": null,
            "columns": [column(1, json!("uuid"), json!({"constant": {"uuid": uuid}})), column(2, json!({"array": {"enum": ["a", "b"]}}), Json::Null)]
        }]})
    }

    /// JSON as MessagePack: its numbers, which serde_json keeps as digits, are integers here.
    struct Named<'a>(&'a Json);

    impl Serialize for Named<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Json::Number(number) => serializer.serialize_i64(number.as_i64().unwrap()),
                Json::Array(items) => serializer.collect_seq(items.iter().map(Named)),
                Json::Object(members) => serializer.collect_map(members.iter().map(|(name, member)| (name, Named(member)))),
                other => other.serialize(serializer),
            }
        }
    }

    fn read(json: &Json) -> Catalog {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn a_catalog_travels_by_names_and_still_by_position() {
        let catalog = read(&catalog());
        assert_eq!(catalog.tables[0].columns[0].default, Some(DefaultValue::Constant(Value::Uuid(Uuid::from_u128(7)))));
        assert_eq!(catalog.tables[0].columns[1].ty, ColumnType::Array(Box::new(ColumnType::Enum(vec!["a".into(), "b".into()]))));
        assert_eq!((catalog.tables[0].scope.clone(), catalog.api.list), (ScopeRule::Through(vec![0]), ListForm::Bare));
        assert_eq!(decode::<Catalog>(&encode_named(&catalog).unwrap()).unwrap(), catalog);
        assert_eq!(decode::<Catalog>(&encode(&catalog).unwrap()).unwrap(), catalog);
        assert_eq!(read(&serde_json::to_value(&catalog).unwrap()), catalog);
    }

    #[test]
    fn what_a_newer_program_adds_is_passed_over() {
        let mut newer = catalog();
        newer["more"] = json!({"a": [1, 2]});
        newer["api"] = json!({"list": "tree", "case": "kebab", "depth": 3});
        let table = &mut newer["tables"][0];
        table["more"] = json!(["x"]);
        table["travel"] = json!("sideways");
        table["policy"] = json!({"vote": [1]});
        table["scope"] = json!({"by_region": {"x": 1}});
        table["references"][0]["on_delete"] = json!("set_blank");
        table["columns"][0]["default"] = json!({"sequence": {"start": 1}});
        table["columns"][0]["ty"] = json!({"vector": 3});
        table["columns"][1]["ty"] = json!({"array": "vector"});
        table["columns"][1]["policy"] = json!("vote");
        table["columns"][1]["more"] = json!(null);
        let by_name = |value: &Json| decode::<Catalog>(&encode_named(&Named(value)).unwrap()).unwrap();
        for catalog in [read(&newer), by_name(&newer)] {
            let table = &catalog.tables[0];
            assert_eq!((table.travel, table.policy, table.scope.clone()), (Travel::Down, Policy::Manual, ScopeRule::Through(vec![])));
            assert_eq!(table.references[0].on_delete, OnDelete::Restrict);
            assert_eq!((table.columns[0].ty.clone(), table.columns[0].default.clone()), (ColumnType::Other, Some(DefaultValue::Cloud)));
            assert_eq!(table.columns[1].ty, ColumnType::Array(Box::new(ColumnType::Other)));
            assert_eq!(catalog.api.list, ListForm::Page);
        }
    }

    #[test]
    fn what_an_older_program_leaves_out_is_as_it_was_then() {
        let older = read(&catalog());
        let (table, column) = (&older.tables[0], &older.tables[0].columns[0]);
        assert_eq!((table.travel, table.generation, table.scope_name.as_str()), (Travel::Both, 0, ""));
        assert_eq!((column.policy, column.added.clone()), (Policy::Manual, None));
        assert!(serde_json::from_value::<Catalog>(json!({"version": 1})).is_err(), "but no catalog is none");
    }
}
