# Once per app, not measured: what a host needs before the floor's first deploy. Arguments: app, domain.
set -eu
app=$1 domain=$2
id -u "$app" >/dev/null 2>&1 || useradd --system --user-group --home-dir "/var/lib/$app" "$app"
install -d "/srv/$app/venvs" "/srv/$app/releases" "/var/lib/$app"
git init --quiet --bare "/srv/$app/repo.git"
printf 'WEB_CONCURRENCY=2\nWEB_THREADS=4\n' >"/srv/$app/env"
chmod 600 "/srv/$app/env"
cat >"/etc/nginx/sites-enabled/$app.conf" <<END
upstream app_$app {
    server unix:/srv/$app/current/run/web.sock max_fails=0;
    server unix:/srv/$app/current/run/web.sock max_fails=0;
}
server {
    listen 80;
    server_name $domain;
    location / {
        proxy_pass http://app_$app;
        proxy_http_version 1.1;
        proxy_set_header Host \$host;
        proxy_set_header Connection "";
        proxy_next_upstream error timeout;
    }
}
END
nginx -t -q
systemctl reload nginx
