#!/usr/bin/env bash
# The cluster's authority, a certificate for everybody in it, and their kubeconfigs. Once a state; `down.sh --purge` forgets them.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

umask 077
mkdir -p "$state/pki" && cd "$state/pki"
[ ! -f done ] || exit 0

# NAME SUBJECT USAGE [ALTERNATIVE NAMES]
certify() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2> /dev/null
  { echo "basicConstraints=CA:FALSE"; echo "keyUsage=critical,digitalSignature"; echo "extendedKeyUsage=$3"
    [ -z "${4:-}" ] || echo "subjectAltName=$4"; } > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2> /dev/null
  rm "$1.csr" "$1.ext"
}

# NAME HOST: a kubeconfig with the certificate of that name
configure() {
  cat > "$state/$1.kubeconfig" <<END
apiVersion: v1
kind: Config
current-context: $NODE_NAME
contexts: [{name: $NODE_NAME, context: {cluster: $NODE_NAME, user: $1}}]
clusters: [{name: $NODE_NAME, cluster: {server: "https://$2:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
END
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$NODE_NAME" -keyout ca.key -out ca.crt \
  -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature 2> /dev/null
openssl ecparam -name prime256v1 -genkey -noout -out service-accounts.key
openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2> /dev/null

service=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
certify apiserver /CN=kube-apiserver serverAuth "$service,IP:127.0.0.1,IP:$NODE_ADDRESS,IP:$NODE_LINK_INSIDE,IP:$NODE_SERVICES_API"
certify kubelet-server "/O=system:nodes/CN=system:node:$NODE_NAME" serverAuth "DNS:$NODE_NAME,IP:$NODE_ADDRESS"
certify apiserver-to-kubelet /CN=apiserver-to-kubelet clientAuth
certify kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" clientAuth
certify kube-controller-manager /CN=system:kube-controller-manager clientAuth
certify kube-scheduler /CN=system:kube-scheduler clientAuth
certify kube-proxy /CN=system:kube-proxy clientAuth
certify admin "/O=system:masters/CN=admin" clientAuth
for name in kubelet kube-controller-manager kube-scheduler kube-proxy; do configure $name "$NODE_ADDRESS"; done
# Over the cable: it serves from outside of the namespace and from inside.
configure admin "$NODE_LINK_INSIDE"
touch done
