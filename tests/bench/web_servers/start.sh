# Once, not measured: what this project's web server is compared with. Arguments: app, the port of nginx as Debian sets
# it up, the port of gunicorn alone, gunicorn's arguments.
set -eu
app=$1 nginx_port=$2 gunicorn_port=$3
shift 3
export DEBIAN_FRONTEND=noninteractive
apt-get -qq install -y --no-install-recommends wrk </dev/null >/dev/null

# nginx.conf as the package brings it, with a folder of sites, a process and logs of its own.
mkdir -p /run/web-servers/sites-enabled /var/www/html
cp -r /etc/nginx/mime.types /run/web-servers/
sed 's#/etc/nginx/#/run/web-servers/#; s#/run/nginx.pid#/run/web-servers/pid#; s#/var/log/nginx/#/var/log/nginx/default-#' \
    /etc/nginx/nginx.conf >/run/web-servers/nginx.conf
cp -rL "/srv/$app/current/static/static" /var/www/html/static
chmod -R a+rX /var/www/html
# The package's own site, and what most people add to it for an app.
cat >/run/web-servers/sites-enabled/default <<END
server {
    listen $nginx_port default_server;
    root /var/www/html;
    server_name _;
    location / {
        proxy_pass http://unix:/srv/$app/current/run/web.sock;
    }
    location /static/ {
        try_files \$uri \$uri/ =404;
    }
}
END
systemctl stop web-servers-nginx web-servers-gunicorn 2>/dev/null || true
systemd-run --quiet --collect --unit=web-servers-nginx nginx -c /run/web-servers/nginx.conf -g 'daemon off;'
systemd-run --quiet --collect --unit=web-servers-gunicorn --uid="$app" --property=KillMode=mixed \
    --working-directory="/srv/$app/current/src" "/srv/$app/current/venv/bin/gunicorn" \
    --bind="127.0.0.1:$gunicorn_port" --worker-tmp-dir=/dev/shm "$@" wsgi:app
for port in "$nginx_port" "$gunicorn_port"; do
    tries=0
    until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { journalctl --no-pager -n 20 -u 'web-servers-*'; exit 1; }
        sleep 0.1
    done
done
