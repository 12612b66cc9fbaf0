#!/bin/sh
# Print fresh secrets for compose.yaml: sh docker/secrets.sh > docker/.env
set -eu
umask 077

hex() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}

echo "POSTGRES_PASSWORD=$(hex 16)"
echo "REDIS_PASSWORD=$(hex 16)"
echo "FERNET_KEY=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_')"
echo "API_SECRET_KEY=$(hex 16)"
echo "JWT_SECRET=$(hex 32)"
echo "ADMIN_PASSWORD=$(hex 8)"
echo "JOURNEY_CLIENT_ID=$(hex 16)"
echo "JOURNEY_CLIENT_SECRET=$(hex 24)"
