#!/bin/sh
# Shows the kiosk's page on this machine's screen, for as long as the machine runs.
PAGE="${1:-http://127.0.0.1:8000/?kiosk}"
PROFILE="${XDG_RUNTIME_DIR:-/var/tmp}/flashdreams-kiosk"
while :; do
  chromium --kiosk --no-first-run --noerrdialogs --disable-infobars --disable-session-crashed-bubble \
    --disable-translate --disable-pinch --overscroll-history-navigation=0 --autoplay-policy=no-user-gesture-required \
    --disable-features=Translate,TouchpadOverscrollHistoryNavigation --check-for-update-interval=31536000 \
    --password-store=basic --user-data-dir="$PROFILE" $CHROMIUM_ARGS "$PAGE"
  sleep 2
done
