//! A real browser: one headless Chromium for a test process, a tab with a storage of its own for each user of a test.
//!
//! A [`Tab`] does what a person does: it clicks where something is and types keys. It waits for what it needs to see, and remembers
//! whatever went wrong in the page ([`Tab::check`]).

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chromiumoxide::Page;
use chromiumoxide::browser::Browser;
use chromiumoxide::cdp::browser_protocol::emulation::{MediaFeature, SetDeviceMetricsOverrideParams, SetEmulatedMediaParams};
use chromiumoxide::cdp::browser_protocol::input::{
    DispatchKeyEventParams, DispatchKeyEventType, DispatchMouseEventParams, DispatchMouseEventType, InsertTextParams, MouseButton,
};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::page::{CaptureScreenshotFormat, EventJavascriptDialogOpening};
use chromiumoxide::cdp::browser_protocol::target::{CreateBrowserContextParams, CreateTargetParams};
use chromiumoxide::cdp::js_protocol::runtime::{EvaluateParams, EventConsoleApiCalled, EventExceptionThrown};
use chromiumoxide::handler::HandlerConfig;
use chromiumoxide::page::ScreenshotParams;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::Api;

/// How long a page may take to show what a test waits for; generous, for machines that do other things too.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// What runs the browser: ends it and removes its folder when our end of the pipe closes, however we end.
const KEEPER: &str =
    r#"dir=$1; shift; "$@" </dev/null & pid=$!; exec 2>/dev/null; cat >/dev/null; kill "$pid"; wait "$pid"; rm -rf "$dir""#;

struct Chromium {
    browser: Browser,
    /// Held open as long as this process lives.
    _keeper: ChildStdin,
}

static CHROMIUM: OnceCell<Chromium> = OnceCell::const_new();

/// The browser's program: `$CHROME`, else what a distribution's package installs.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("CHROME") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let places = names.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    let mac = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    let found = places.chain([mac]).find(|place| place.is_file());
    found.expect("no Chromium: run scripts/get-chromium.sh, install the package chromium, or set CHROME to the program")
}

async fn start() -> Chromium {
    let folder = tempfile::tempdir().unwrap().keep();
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(program()).arg(format!("--user-data-dir={}", folder.display())).args([
        "--headless=new",
        "--remote-debugging-port=0",
        // The tests may run as root, and in containers without user namespaces; the pages are our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        "--disable-component-update",
        "--disable-sync",
        "--disable-features=Translate,HttpsFirstBalancedModeAutoEnable,HttpsUpgrades",
        "--force-color-profile=srgb",
        "--hide-scrollbars",
        "about:blank",
    ]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let keeper = child.stdin.take().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut tell = Some(tell);
        let mut before = String::new();
        for line in said.lines().map_while(Result::ok) {
            if let Some(url) = line.split("DevTools listening on ").nth(1)
                && let Some(tell) = tell.take()
            {
                let _ = tell.send(Ok(url.trim().to_owned()));
            } else if tell.is_some() {
                before.push_str(&line);
                before.push('\n');
            }
        }
        if let Some(tell) = tell {
            let _ = tell.send(Err(before));
        }
        let _ = child.wait();
    });
    let url = tokio::time::timeout(PATIENCE, told).await.expect("Chromium does not start").unwrap();
    let url = url.unwrap_or_else(|said| panic!("Chromium does not start:\n{said}"));
    let (send, receive) = tokio::sync::oneshot::channel();
    // Each test has a runtime of its own; the browser outlives them on this one.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let config = HandlerConfig { viewport: None, request_timeout: PATIENCE, ..HandlerConfig::default() };
            let (browser, mut handler) = Browser::connect_with_config(url, config).await.unwrap();
            let _ = send.send(browser);
            while handler.next().await.is_some() {}
        });
    });
    Chromium { browser: receive.await.unwrap(), _keeper: keeper }
}

/// A tab with a storage of its own.
pub struct Tab {
    page: Page,
    problems: Arc<Mutex<Vec<String>>>,
}

impl Tab {
    /// An empty tab, as large as a laptop's window.
    pub async fn new() -> Self {
        let chromium = CHROMIUM.get_or_init(start).await;
        let context = chromium.browser.create_browser_context(CreateBrowserContextParams::default()).await.unwrap();
        let target = CreateTargetParams::builder().url("about:blank").browser_context_id(context).build().unwrap();
        let page = chromium.browser.new_page(target).await.unwrap();
        let tab = Self { page, problems: Arc::default() };
        tab.page.enable_log().await.unwrap();
        tab.page.enable_runtime().await.unwrap();
        tab.listen().await;
        tab.look(1200, 860, false, false).await;
        tab
    }

    async fn listen(&self) {
        let mut dialogs = self.page.event_listener::<EventJavascriptDialogOpening>().await.unwrap();
        let mut exceptions = self.page.event_listener::<EventExceptionThrown>().await.unwrap();
        let mut entries = self.page.event_listener::<EventEntryAdded>().await.unwrap();
        let mut calls = self.page.event_listener::<EventConsoleApiCalled>().await.unwrap();
        let problems = self.problems.clone();
        tokio::spawn(async move {
            loop {
                let problem = tokio::select! {
                    Some(dialog) = dialogs.next() => format!("a dialog: {}", dialog.message),
                    Some(thrown) = exceptions.next() => format!("{:?}", thrown.exception_details),
                    Some(call) = calls.next() => format!("console.{:?}: {:?}", call.r#type, call.args),
                    Some(entry) = entries.next() => {
                        let entry = &entry.entry;
                        // A refusal that a page shows in words is in the log as well.
                        if entry.level != LogEntryLevel::Error || entry.text.contains("the server responded with a status of") { continue }
                        format!("{} {:?}", entry.text, entry.url)
                    }
                    else => return,
                };
                problems.lock().unwrap().push(problem);
            }
        });
    }

    /// Fails if a script failed, a policy was violated, something was logged, or a dialog opened.
    #[track_caller]
    pub fn check(&self) {
        let problems = self.problems.lock().unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }

    /// A window of this size; `phone` has fingers and no mouse.
    pub async fn look(&self, width: i64, height: i64, phone: bool, dark: bool) {
        let size = SetDeviceMetricsOverrideParams::new(width, height, 1.0, phone);
        self.page.execute(size).await.unwrap();
        let feature = |name: &str, value: &str| MediaFeature { name: name.to_owned(), value: value.to_owned() };
        let scheme = feature("prefers-color-scheme", if dark { "dark" } else { "light" });
        let pointer = feature("hover", if phone { "none" } else { "hover" });
        let media = SetEmulatedMediaParams::builder().features([scheme, pointer, feature("prefers-reduced-motion", "reduce")]).build();
        self.page.execute(media).await.unwrap();
    }

    /// The value of an expression in the page.
    pub async fn eval(&self, expression: &str) -> Value {
        let parameters = EvaluateParams::builder().expression(expression).await_promise(true).return_by_value(true).build().unwrap();
        let result = self.page.evaluate_expression(parameters).await;
        let result = result.unwrap_or_else(|error| panic!("{expression}: {error}"));
        result.value().cloned().unwrap_or(Value::Null)
    }

    /// Runs a script before those of every page from now on.
    pub async fn eval_on_start(&self, script: &str) {
        self.page.evaluate_on_new_document(script.to_owned()).await.unwrap();
    }

    /// Goes to an address.
    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.unwrap();
    }

    /// From now on this tab is signed in with this credential, as if a person had done it.
    pub async fn sign_in_with(&self, api: &Api) {
        let me = api.get("/api/rejoin/me").await.ok();
        let session = json!({"token": api.token(), "expiresAt": "2100-01-01T00:00:00Z", "user": me});
        // Before any page's script, and for this server only.
        let script = format!("if (location.origin === {:?}) localStorage.setItem('rejoin.session', {:?})", api.url(), session.to_string());
        self.page.evaluate_on_new_document(script).await.unwrap();
    }

    /// Waits until an expression in the page holds.
    pub async fn until(&self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        // A navigation under way takes the page's context with it: ask again.
        loop {
            let parameters = EvaluateParams::builder().expression(format!("Boolean({condition})")).return_by_value(true).build().unwrap();
            let held = self.page.evaluate_expression(parameters).await.ok().and_then(|result| result.value().cloned());
            if held == Some(Value::Bool(true)) {
                return;
            }
            if Instant::now() > deadline {
                let problems = self.problems.lock().unwrap().clone();
                panic!("never so: {condition}\n{}\n{problems:#?}", self.text("body").await);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("document.body.innerText.replace(/\\s+/g, ' ').includes({})", json!(text))).await;
    }

    /// Waits until the page no longer shows a text.
    pub async fn sees_no(&self, text: &str) {
        self.until(&format!("!document.body.innerText.replace(/\\s+/g, ' ').includes({})", json!(text))).await;
    }

    /// What the first element shows, its white space folded.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({})?.innerText.replace(/\\s+/g, ' ').trim() ?? ''", json!(selector))).await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// How many elements there are.
    pub async fn count(&self, selector: &str) -> u64 {
        self.eval(&format!("document.querySelectorAll({}).length", json!(selector))).await.as_u64().unwrap()
    }

    /// Clicks on the first element of a selector, once it is there, enabled and not covered.
    pub async fn click(&self, selector: &str) {
        self.click_where(selector, "").await;
    }

    /// Clicks on the first element of a selector that shows this text.
    pub async fn click_where(&self, selector: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let find = format!(
            "(() => {{
                const element = [...document.querySelectorAll({})].find((one) => one.innerText.includes({}) || (one.getAttribute('aria-label') ?? '').includes({}));
                if (!element || element.disabled) return null;
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
                const top = document.elementFromPoint(x, y);
                return top && (element.contains(top) || top.contains(element)) ? [x, y] : null;
            }})()",
            json!(selector), json!(text), json!(text)
        );
        loop {
            let parameters = EvaluateParams::builder().expression(find.clone()).return_by_value(true).build().unwrap();
            let place = self.page.evaluate_expression(parameters).await.ok().and_then(|result| result.value().cloned());
            if let Some([x, y]) = place.as_ref().and_then(Value::as_array).map(Vec::as_slice) {
                self.mouse(x.as_f64().unwrap(), y.as_f64().unwrap()).await;
                return;
            }
            if Instant::now() > deadline {
                let problems = self.problems.lock().unwrap().clone();
                panic!("nothing to click at: {selector} {text:?}\n{}\n{problems:#?}", self.text("body").await);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn mouse(&self, x: f64, y: f64) {
        for kind in [DispatchMouseEventType::MouseMoved, DispatchMouseEventType::MousePressed, DispatchMouseEventType::MouseReleased] {
            let event =
                DispatchMouseEventParams::builder().r#type(kind).x(x).y(y).button(MouseButton::Left).click_count(1).build().unwrap();
            self.page.execute(event).await.unwrap();
        }
    }

    /// Writes into whatever has the focus.
    pub async fn write(&self, text: &str) {
        self.page.execute(InsertTextParams::new(text)).await.unwrap();
    }

    /// Presses keys, one after the other: `j`, `Enter`, `ArrowDown`, ..
    pub async fn press(&self, keys: &[&str]) {
        for key in keys {
            let code = match *key {
                "Enter" => 13,
                "Escape" => 27,
                "Tab" => 9,
                "ArrowLeft" => 37,
                "ArrowUp" => 38,
                "ArrowRight" => 39,
                "ArrowDown" => 40,
                _ => i64::from(key.as_bytes()[0].to_ascii_uppercase()),
            };
            let text = if *key == "Enter" { Some("\r") } else { (key.chars().count() == 1).then_some(*key) };
            let event = |kind| DispatchKeyEventParams::builder().r#type(kind).key(*key).windows_virtual_key_code(code);
            let down = event(if text.is_some() { DispatchKeyEventType::KeyDown } else { DispatchKeyEventType::RawKeyDown });
            let down = text.into_iter().fold(down, |event, text| event.text(text));
            self.page.execute(down.build().unwrap()).await.unwrap();
            self.page.execute(event(DispatchKeyEventType::KeyUp).build().unwrap()).await.unwrap();
        }
    }

    /// What the window shows, as a PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let parameters = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png).build();
        self.page.screenshot(parameters).await.unwrap()
    }
}
