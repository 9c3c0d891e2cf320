# The floor: the least that takes a release live without dropping a request, as one shell script over one connection.
# Arguments: deploy|rollback, app, domain, repository, ref.
#
# It does the work of this project's deploy and none of its care: no lock, no build user or sandbox, no history, no
# watch, no check of anything, no way back.
set -eu
action=$1 app=$2 domain=$3 repository=$4 ref=$5
cd "/srv/$app"
git="git --git-dir=/srv/$app/repo.git"
old=$(readlink current || true)
old=${old#releases/}

build() {
    key=$({ cat "$release/src/requirements.txt"; python3 -V; /opt/uv/bin/uv --version; } | sha256sum | cut -c 1-20)
    venv=/srv/$app/venvs/$key
    if [ ! -e "$venv/.complete" ]; then
        export UV_CACHE_DIR="/srv/$app/cache" UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1
        /opt/uv/bin/uv venv --quiet --clear --python /usr/bin/python3 "$venv"
        /opt/uv/bin/uv pip install --quiet --python "$venv/bin/python" --compile-bytecode \
            -r "$release/src/requirements.txt"
        touch "$venv/.complete"
    fi
    ln -s "$venv" "$release/venv"
    "$venv/bin/python" -m compileall -q "$release/src"
    ln -s "/run/$app/$id" "$release/run"
    cat >"/etc/systemd/system/$app.web.$id.service" <<END
[Service]
Type=notify
NotifyAccess=main
User=$app
WorkingDirectory=$release/src
EnvironmentFile=/srv/$app/env
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart=/bin/sh -c 'exec $release/venv/bin/gunicorn --bind unix:/run/$app/$id/web.sock --umask 0 \
  --workers \$WEB_CONCURRENCY --threads \$WEB_THREADS --worker-tmp-dir /dev/shm wsgi:app'
RuntimeDirectory=$app/$id
KillMode=mixed
TimeoutStopSec=45
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
END
}

case $action in
deploy)
    $git fetch --quiet --prune --force --no-tags "$repository" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*'
    id=$($git rev-parse --verify --quiet "$ref^{commit}" | cut -c 1-12)
    if [ "$id" = "$old" ] && systemctl is-active --quiet "$app.web.$id"; then
        exit 0
    fi
    release=/srv/$app/releases/$id
    rm -rf "$release"
    mkdir -p "$release/src"
    $git archive "$id" | tar -x -C "$release/src"
    build
    ;;
rollback)
    id=$($git rev-parse --verify --quiet "$ref^{commit}" | cut -c 1-12)
    ;;
esac

systemctl start "$app.web.$id"
good=0 tries=0
while [ $good -lt 3 ]; do
    if curl --silent --fail --max-time 5 --output /dev/null --unix-socket "/run/$app/$id/web.sock" "http://$domain/"; then
        good=$((good + 1))
    else
        good=0 tries=$((tries + 1))
        [ $tries -lt 600 ] || exit 1
        sleep 0.05
    fi
done
sync -f .
ln -s "releases/$id" ".current.$$"
mv -T ".current.$$" current
[ -n "$old" ] || exit 0
# A connect that was under way when the link was renamed has arrived after this.
sleep 0.2
while ss -Hx state established src "/run/$app/$old/web.sock" | grep -q .; do sleep 0.05; done
systemctl stop "$app.web.$old"
