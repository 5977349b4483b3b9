//! The category of a device by keywords. A table, so that docs/IMPORT.md can repeat it.

/// The categories with the words that give them; the first category with a match wins, the model before the description.
/// A phrase matches whole words only: `monitor` is not in `monitored`.
pub(crate) const KEYWORDS: &[(&str, &[&str])] = &[
    ("CAMERA", &["camera", "camcorder"]),
    ("CCU", &["ccu", "camera control unit"]),
    ("LED_PROCESSOR", &["led processor", "led controller"]),
    ("LED_TILE", &["led tile", "led panel", "led wall"]),
    ("PROJECTOR", &["projector"]),
    ("RECORDER", &["recorder", "hyperdeck", "xs neo"]),
    ("SWITCHER", &["switcher", "vision mixer", "atem"]),
    ("MONITOR", &["monitor", "touchmonitor", "multiview", "multiviewer", "coloredge", "pam1", "pam2", "audio monitoring"]),
    ("ROUTER", &["router", "matrix", "videohub", "ultrix", "artist"]),
];

/// What a device is where no keyword fits.
pub(crate) const FALLBACK: &str = "CONVERTER";

/// The category of a device.
pub(crate) fn category(model: &str, description: Option<&str>) -> &'static str {
    let texts = [Some(model), description];
    let found = texts.into_iter().flatten().find_map(|text| {
        let words = format!(" {} ", words(text));
        KEYWORDS.iter().find(|(_, phrases)| phrases.iter().any(|phrase| words.contains(&format!(" {phrase} "))))
    });
    found.map_or(FALLBACK, |(category, _)| category)
}

/// The words of a text in lower case, each followed by one space but the last.
fn words(text: &str) -> String {
    let words: Vec<_> =
        text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::category;

    #[test]
    fn the_model_counts_before_the_description() {
        assert_eq!(category("ATEM Constellation 8K", Some("with a multiviewer")), "SWITCHER");
        assert_eq!(category("UIC-128", Some("Interface card for Artist 1024")), "ROUTER");
    }

    #[test]
    fn the_page_repeats_the_table() {
        let page = include_str!("../../../docs/IMPORT.md");
        for (category, phrases) in super::KEYWORDS {
            let row = format!("| {category} | {} |", phrases.join(", "));
            assert!(page.contains(&row), "docs/IMPORT.md lacks {row}");
        }
    }

    #[test]
    fn only_whole_words_count() {
        assert_eq!(category("S2132 PDU", Some("Monitored Power Distribution Unit")), "CONVERTER");
        assert_eq!(category("TouchMonitor TM7 RAV", None), "MONITOR");
        assert_eq!(category("XS-NEO PMX2-6801S-IP", None), "RECORDER");
    }
}
